//! mail-auth, which asks a DNS server.

use crate::case::{Case, PeerAnswer, RECEIVER};
use crate::zone_server::ZoneServer;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{MessageAuthenticator, SpfResult};
use std::time::Duration;

/// mail-auth with our server.
pub struct MailAuth {
    server: ZoneServer,
    authenticator: MessageAuthenticator,
}

impl MailAuth {
    pub async fn start() -> Self {
        let server = ZoneServer::start().await;
        let mut connection = ConnectionConfig::udp();
        connection.port = server.address().port();
        let name_server = NameServerConfig::new(server.address().ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, vec![], vec![name_server]);
        let mut options = ResolverOpts::default();
        options.cache_size = 0;
        options.attempts = 1;
        // Every question is answered; only a busy machine takes long.
        options.timeout = Duration::from_secs(60);
        options.use_hosts_file = ResolveHosts::Never;
        Self {
            authenticator: MessageAuthenticator::new(config, options).expect("a server is named"),
            server,
        }
    }

    pub async fn answer(&self, case: &Case) -> PeerAnswer {
        self.server.load(&case.zone);
        let client = case.client;
        let query = match case.mail_from.as_str() {
            "" => SpfParameters::verify_ehlo(client, &case.helo, RECEIVER),
            sender => SpfParameters::verify_mail_from(client, &case.helo, RECEIVER, sender),
        };
        let output = self.authenticator.verify_spf(query).await;
        let result = match output.result() {
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::Neutral => "neutral",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
            SpfResult::None => "none",
        };
        let explanation = output.explanation().map(str::to_owned);
        PeerAnswer::new(result, explanation, "")
    }
}
