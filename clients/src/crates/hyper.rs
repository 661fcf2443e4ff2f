//! `hyper` 1 over Narrowboat's streams: a server and its callers, with a goroutine or thread for
//! each connection.

use super::Setting;
use crate::work::{Call, Failure, Mode, Open, expect};
use ::hyper::body::Incoming;
use ::hyper::service::service_fn;
use ::hyper::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::TokioIo;
use narrowboat::future::FutureExt;
use narrowboat::net::tokio::AsyncStream;
use narrowboat::net::{TcpListener, TcpStream};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Answers each request after 10 ms with its path. The handler is code that waits as any other.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    narrowboat::sleep(Duration::from_millis(10));
    Ok(Response::new(Full::new(request.uri().path().to_string().into())))
}

fn serve(mode: Mode) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    mode.spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            mode.spawn(move || {
                let connection = ::hyper::server::conn::http1::Builder::new();
                let stream = TokioIo::new(AsyncStream::from(stream));
                // An error is the caller's to see.
                let _ = connection.serve_connection(stream, service_fn(answer)).wait();
            });
        }
    });
    Ok(address)
}

pub fn both_ends(setting: &Setting) -> Result<Open, Failure> {
    let mode = setting.mode;
    let address = serve(mode)?;
    Ok(Arc::new(move |id| {
        let path = move |n| format!("/{id}/{n}");
        // Every second caller over a stream of tokio's.
        if id % 2 == 0 {
            let stream = TokioIo::new(AsyncStream::from(TcpStream::connect(address)?));
            call(mode, stream, path)
        } else {
            let stream = ::tokio::net::TcpStream::connect(address).wait()?;
            call(mode, TokioIo::new(stream), path)
        }
    }))
}

fn call<S>(mode: Mode, stream: S, path: impl Fn(usize) -> String + Send + 'static) -> Result<Call, Failure>
where
    S: ::hyper::rt::Read + ::hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        ::hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(stream).wait()?;
    mode.spawn(move || connection.wait());
    Ok(Box::new(move |n| {
        let path = path(n);
        let request = Request::get(&path).header("host", "localhost").body(Empty::new())?;
        // The connection may still be at the end of the call before.
        sender.ready().wait()?;
        let body = sender.send_request(request).wait()?.into_body().collect().wait()?;
        expect(std::str::from_utf8(&body.to_bytes())?, path.as_str())
    }))
}
