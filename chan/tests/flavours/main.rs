//! What each flavour of channel does: the same catalogue of tests for all, and a file for each with
//! what is special to it.

mod ends;
#[macro_use]
mod flavour;

mod catalogue {
    mod basics;
    mod buffer;
    mod closing;
    mod crowds;
    mod due;
    mod full;
    mod iter;
    mod limits;
    mod selecting;
    mod silent;
    mod values;
    mod watching;
}

mod after;
mod array;
mod at;
mod list;
mod never;
mod one;
mod tick;
mod zero;
