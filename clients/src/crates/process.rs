//! `std::process::Command` with three pipes.

use super::Setting;
use crate::work::{Failure, Open, expect};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

pub fn cat(_: &Setting) -> Result<Open, Failure> {
    Ok(Arc::new(|id| {
        Ok(Box::new(move |n| {
            let mut child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let text = format!("{id} {n} ").repeat(16 << 10).into_bytes();
            let text = &text[..16 << 10];
            child.stdin.take().ok_or("no pipe")?.write_all(text)?;
            let output = child.wait_with_output()?;
            if !output.status.success() || !output.stderr.is_empty() {
                return Err(format!("cat has failed: {output:?}").into());
            }
            expect(output.stdout.len(), text.len())?;
            expect(output.stdout == text, true)
        }))
    }))
}
