//! A server as one writes it with threads: of `std::net`, and with what `spawn` gives for each
//! connection. `std::thread::spawn` and `narrowboat::spawn` are all that differs.

use super::Setting;
use crate::work::{Failure, Mode, Open, PATIENCE, expect};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

fn serve(listener: TcpListener, mode: Mode) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        mode.spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

pub fn echo(setting: &Setting) -> Result<Open, Failure> {
    let mode = setting.mode;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    mode.spawn(move || serve(listener, mode));
    Ok(Arc::new(move |id| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Box::new(move |n| {
            let question = format!("{id:>32}{n:>32}").into_bytes();
            let mut answer = vec![0; question.len()];
            stream.write_all(&question)?;
            stream.read_exact(&mut answer)?;
            expect(answer, question)
        }))
    }))
}
