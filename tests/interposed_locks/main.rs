//! The C library's locks, taken by code that knows nothing of Narrowboat, in goroutines and
//! threads.

mod mutexes;
mod objects;
mod semaphores;
mod waits;
