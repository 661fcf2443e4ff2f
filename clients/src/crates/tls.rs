//! `native-tls`, by OpenSSL, over a `std::net::TcpStream`.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use native_tls::{Certificate, TlsConnector};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;

pub fn lines(setting: &Setting) -> Result<Open, Failure> {
    let server = setting.addresses.part(Server::Own, 2)?.to_string();
    let certificate = std::fs::read(setting.addresses.folder()?.join("own.crt"))?;
    let connector =
        TlsConnector::builder().add_root_certificate(Certificate::from_pem(&certificate)?).build()?;
    Ok(Arc::new(move |id| {
        let stream = TcpStream::connect(&server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(connector.connect("localhost", stream)?);
        Ok(Box::new(move |n| {
            let line = format!("line {n} of {id}\n");
            stream.get_mut().write_all(line.as_bytes())?;
            let mut answer = String::new();
            if stream.read_line(&mut answer)? == 0 {
                return Err("the server has ended the connection".into());
            }
            expect(answer, line)
        }))
    }))
}
