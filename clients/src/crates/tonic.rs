//! `tonic`: gRPC's health service, on the tokio runtime in the background, and its callers.

use super::Setting;
use crate::work::{Failure, Open, PATIENCE, expect};
use narrowboat::future::FutureExt;
use narrowboat::future::tokio::handle;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::transport::{Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

pub fn health(_: &Setting) -> Result<Open, Failure> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("boat", ServingStatus::Serving).wait();
    handle().spawn(Server::builder().add_service(service).serve(address));
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.timeout(PATIENCE);
    let start = Instant::now();
    let channel = loop {
        match endpoint.connect().wait() {
            Ok(channel) => break channel,
            Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    Ok(Arc::new(move |_| {
        let mut client = HealthClient::new(channel.clone());
        Ok(Box::new(move |_| {
            let reply = client.check(HealthCheckRequest { service: "boat".into() }).wait()?;
            expect(reply.into_inner().status, ServingStatus::Serving as i32)
        }))
    }))
}
