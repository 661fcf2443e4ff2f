//! The reader of traces, and the picture of what it has read.
#![no_main]
#![allow(dead_code)]

#[path = "../../examples/trace_picture/main.rs"]
mod trace_picture;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(svg) = trace_picture::picture(bytes, &[]) {
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
    let _ = trace_picture::picture(bytes, &["10".into(), "20".into()]);
});
