//! The HTTP client of every call to AWS. The SDK's own client loads the machine's CA certificates before the first
//! request, wherever that goes, and panics in debug builds where there are none; and it sends plain http through the
//! proxies of the environment, which would read requests and session tokens.

use aws_smithy_http_client::{Builder, Connector, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::base64;
use rustls::RootCertStore;
use std::sync::{Arc, OnceLock};

/// There is no CA certificate by which a server could be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no usable CA certificates for https{why}")]
pub struct NoCertificates {
    /// Why some could not be read, in parentheses; empty where there are none.
    why: String,
}

/// The number of CA certificates that this machine trusts: those of `SSL_CERT_FILE`, `SSL_CERT_DIR` and the system.
///
/// # Errors
/// There is none.
pub fn trusted_certificates() -> Result<usize, NoCertificates> {
    Ok(load()?.len())
}

/// The certificates that can be used, in DER. Every one of them has been parsed: the SDK panics at one that cannot be.
fn load() -> Result<Vec<Vec<u8>>, NoCertificates> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let mut usable = Vec::new();
    for certificate in found.certs {
        let der = certificate.to_vec();
        if store.add(certificate).is_ok() {
            usable.push(der);
        }
    }
    if usable.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(NoCertificates { why });
    }
    Ok(usable)
}

/// As the SDK takes certificates (RFC 7468).
fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    let one =
        |der: &Vec<u8>| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64::encode(der));
    certificates.iter().map(one).collect::<String>().into_bytes()
}

/// A client for https, through the proxies of the environment.
fn trusting() -> Result<SharedHttpClient, NoCertificates> {
    let store = tls::TrustStore::empty().with_pem_certificate(pem(&load()?));
    let context = tls::TlsContext::builder().with_trust_store(store).build();
    let context = context.map_err(|error| NoCertificates { why: format!(" ({error})") })?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    }))
}

/// | the request goes to | by |
/// |---|---|
/// | `http://…` (loopback, and the metadata services of instances and containers) | a client without TLS and without proxy: no certificate is loaded |
/// | `https://…` | a client that trusts the machine's CA certificates, through the proxies of the environment |
/// | `https://…`, and there are no CA certificates | none: [`NoCertificates`], and nothing is sent |
#[derive(Clone, Debug)]
pub struct ByScheme(Arc<SchemeClients>);

#[derive(Debug)]
struct SchemeClients {
    plain: SharedHttpClient,
    /// Made for the first request that needs it.
    trusting: OnceLock<Result<SharedHttpClient, NoCertificates>>,
}

impl ByScheme {
    pub fn new() -> Self {
        Self(Arc::new(SchemeClients { plain: Builder::new().build_http(), trusting: OnceLock::new() }))
    }
}

impl HttpClient for ByScheme {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (settings, components) = (settings.clone(), components.clone());
        SharedHttpConnector::new(ConnectorByScheme { clients: Arc::clone(&self.0), settings, components })
    }
}

#[derive(Debug)]
struct ConnectorByScheme {
    clients: Arc<SchemeClients>,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for ConnectorByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let by = |client: &SharedHttpClient, request| {
            // Both clients keep their connectors, and with them the connections, by these settings.
            client.http_connector(&self.settings, &self.components).call(request)
        };
        let is_plain = request.uri().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"));
        if is_plain {
            return by(&self.clients.plain, request);
        }
        match self.clients.trusting.get_or_init(trusting) {
            Ok(client) => by(client, request),
            Err(none) => HttpConnectorFuture::ready(Err(ConnectorError::user(none.clone().into()))),
        }
    }
}
