//! The file of a trace, in the format of Perfetto: `picture` draws the events of a timeline,
//! `proto` writes the messages of the format.

mod picture;
mod proto;

pub(super) use picture::Picture;
