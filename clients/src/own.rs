//! Servers of this program's own, in a process of their own, on goroutines and Narrowboat's sockets.

use crate::work::Failure;
use narrowboat::net::{TcpListener, TcpStream};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::Duration;

pub fn serve(ports: &[u16], files: &Path) -> Result<(), Failure> {
    let [http, smtp, tls] = ports else { return Err("three ports are needed".into()) };
    let (http, smtp, tls) = (*http, *smtp, *tls);
    let accept = tls_acceptor(files)?;
    narrowboat::run(move || {
        let servers = [
            listen(http, |stream| answer_http(stream).map_err(Failure::from))?,
            listen(smtp, |stream| answer_smtp(stream).map_err(Failure::from))?,
            listen(tls, accept)?,
        ];
        for server in servers {
            server.join().map_err(|_| "a server has panicked")?;
        }
        Ok(())
    })
}

/// Accepts connections for ever, with a goroutine for each.
fn listen(
    port: u16,
    answer: impl Fn(TcpStream) -> Result<(), Failure> + Send + Sync + 'static,
) -> Result<narrowboat::JoinHandle<()>, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let answer = std::sync::Arc::new(answer);
    Ok(narrowboat::spawn(move || {
        loop {
            let Ok((stream, _)) = listener.accept() else { continue };
            let _ = stream.set_nodelay(true);
            let answer = answer.clone();
            // An error is the caller's to see.
            narrowboat::spawn(move || drop(answer(stream)));
        }
    }))
}

/// Answers each request after 10 ms with its path.
fn answer_http(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::with_capacity(1024, stream);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_string();
        while line.trim_end() != "" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        narrowboat::sleep(Duration::from_millis(10));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length:";
        stream.get_mut().write_all(format!("{head} {}\r\n\r\n{path}", path.len()).as_bytes())?;
    }
}

/// Takes messages, and answers each with its subject.
fn answer_smtp(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::with_capacity(1024, stream);
    let say = |stream: &mut BufReader<TcpStream>, text: &str| {
        stream.get_mut().write_all(format!("{text}\r\n").as_bytes())
    };
    say(&mut stream, "220 localhost ready")?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "QUIT" => return say(&mut stream, "221 localhost ends"),
            "DATA" => {
                say(&mut stream, "354 go on")?;
                let mut subject = String::new();
                loop {
                    line.clear();
                    if stream.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    if let Some(text) = line.strip_prefix("Subject: ") {
                        subject = text.trim_end().to_string();
                    }
                    if line == ".\r\n" {
                        break;
                    }
                }
                say(&mut stream, &format!("250 taken: {subject}"))?;
            }
            _ => say(&mut stream, "250 localhost")?,
        }
    }
}

type Accept = Box<dyn Fn(TcpStream) -> Result<(), Failure> + Send + Sync>;

/// Echoes lines over TLS.
#[cfg(feature = "libssl")]
fn tls_acceptor(files: &Path) -> Result<Accept, Failure> {
    let read = |extension| std::fs::read(files.with_extension(extension));
    let identity = native_tls::Identity::from_pkcs8(&read("crt")?, &read("key")?)?;
    let acceptor = native_tls::TlsAcceptor::new(identity)?;
    Ok(Box::new(move |stream| {
        let mut stream = acceptor.accept(stream)?;
        let mut buffer = vec![0; 1024];
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..length])?;
        }
    }))
}

/// Echoes what comes, since there is no TLS in this program.
#[cfg(not(feature = "libssl"))]
fn tls_acceptor(_: &Path) -> Result<Accept, Failure> {
    Ok(Box::new(|mut stream| {
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            stream.write_all(&byte)?;
        }
        Ok(())
    }))
}

/// Writes a key, and a certificate of `localhost` that it has signed itself.
#[cfg(feature = "libssl")]
pub fn make_certificate(folder: &Path) -> Result<(), Failure> {
    use openssl::asn1::{Asn1Integer, Asn1Time};
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509, X509NameBuilder};

    let key = PKey::from_ec_key(EcKey::generate(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref())?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "localhost")?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let (serial, begin, end) = (
        Asn1Integer::from_bn(BigNum::from_u32(1)?.as_ref())?,
        Asn1Time::days_from_now(0)?,
        Asn1Time::days_from_now(2)?,
    );
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(&begin)?;
    builder.set_not_after(&end)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    let names = SubjectAlternativeName::new().dns("localhost").build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(&key, MessageDigest::sha256())?;
    std::fs::write(folder.join("own.crt"), builder.build().to_pem()?)?;
    std::fs::write(folder.join("own.key"), key.private_key_to_pem_pkcs8()?)?;
    Ok(())
}
