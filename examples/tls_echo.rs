//! Sends back what it receives, over TLS: rustls on top of Narrowboat's stream, as on top of std's.
//!
//!     cargo run --release --example tls_echo -- 127.0.0.1:7443
//!     openssl s_client -quiet -connect 127.0.0.1:7443            in a second terminal
//!
//! It makes a self-signed certificate for `localhost`. Another certificate is given as PEM files:
//!
//!     cargo run --release --example tls_echo -- 127.0.0.1:7443 certificate.pem key.pem

use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{go, time};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// Returns when the client has ended the session, or with the error that broke it.
fn echo(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    // An answer that follows the tickets of the handshake could otherwise wait for 40 ms, until the
    // client acknowledges those.
    stream.set_nodelay(true)?;
    // Limits every read, also the first, in which the handshake takes place.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    // On the heap, not on the stack: a parked goroutine is as large as its live stack.
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(received) => stream.write_all(&buffer[..received])?,
            // The client has closed without `close_notify`, as many clients do. There is nothing
            // left to send.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    stream.conn.send_close_notify();
    stream.flush()
}

fn serve(address: &str, config: ServerConfig) -> io::Result<()> {
    let config = Arc::new(config);
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let config = config.clone();
                go!(move || {
                    if let Err(error) = echo(stream, config) {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            Err(error) => {
                // Most likely the process has no descriptors left. Open connections are still
                // served, and some of them will close.
                eprintln!("cannot accept: {error}; trying again");
                time::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn configure(files: &[String]) -> Result<ServerConfig, Box<dyn Error>> {
    let (chain, key) = match files {
        [] => {
            let made =
                rcgen::generate_simple_self_signed(["localhost".to_string(), "127.0.0.1".to_string()])?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
            (vec![made.cert.der().clone()], key)
        }
        [certificate, key] => {
            let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
            (chain, PrivateKeyDer::from_pem_file(key)?)
        }
        _ => return Err("usage: tls_echo [ADDRESS [CERTIFICATE.pem KEY.pem]]".into()),
    };
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7443".into());
    let config = configure(&arguments.collect::<Vec<_>>())?;
    narrowboat::run(move || serve(&address, config))?;
    Ok(())
}
