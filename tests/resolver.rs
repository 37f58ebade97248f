//! The live resolver against a DNS server on loopback that answers, fails and stays silent on demand:
//! what it makes of each answer, what it caches, and that a question in flight is asked once.

use alignd::dns::{Answer, LookupError, QueryName, Resolver, TxtRecord};
use alignd::resolver::{Deadline, DnsSettings, LiveResolver};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, PTR, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;

/// Answers by the first label of the name asked; counts every datagram that asked for it.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn count(&self, name: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.as_str() == name)
            .count()
    }
}

async fn serve() -> (LiveResolver, Asked) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let settings = DnsSettings {
        servers: vec![socket.local_addr().unwrap()],
        timeout: Duration::from_millis(600),
        ..DnsSettings::default()
    };
    let asked = Asked::default();
    let log = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            log.0
                .lock()
                .unwrap()
                .push(query.queries[0].name().to_ascii());
            if let Some(reply) = reply(&query) {
                socket
                    .send_to(&reply.to_vec().unwrap(), from)
                    .await
                    .unwrap();
            }
        }
    });
    (LiveResolver::new(&settings).unwrap(), asked)
}

fn reply(query: &Message) -> Option<Message> {
    let question = query.queries[0].clone();
    let name = question.name().clone();
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_available = true;
    reply.add_query(question);
    let txt = |text: Vec<&[u8]>| RData::TXT(TXT::from_bytes(text));
    let target = Name::from_str("found.example.").unwrap();
    match name.iter().next()? {
        b"found" => {
            reply.add_answer(Record::from_rdata(
                name,
                300,
                txt(vec![b"v=DMARC1;", b" p=none"]),
            ));
        }
        b"brief" => {
            reply.add_answer(Record::from_rdata(name, 0, txt(vec![b"now"])));
        }
        b"empty" => {
            reply.add_answer(Record::from_rdata(name, 300, txt(vec![b""])));
        }
        b"alias" => {
            let cname = RData::CNAME(CNAME(target.clone()));
            reply.add_answer(Record::from_rdata(name, 300, cname));
            reply.add_answer(Record::from_rdata(target, 300, txt(vec![b"at the end"])));
        }
        b"loop" => {
            let cname = RData::CNAME(CNAME(name.clone()));
            reply.add_answer(Record::from_rdata(name, 300, cname));
        }
        b"dangling" => {
            let cname = RData::CNAME(CNAME(Name::from_str("nxdomain.example.").unwrap()));
            reply.add_answer(Record::from_rdata(name, 300, cname));
        }
        b"hollow" => {
            let cname = RData::CNAME(CNAME(Name::from_str("nodata.example.").unwrap()));
            reply.add_answer(Record::from_rdata(name, 300, cname));
            reply.add_authority(soa());
        }
        b"address" => {
            let a = RData::A(A(Ipv4Addr::new(192, 0, 2, 1)));
            reply.add_answer(Record::from_rdata(name, 300, a));
        }
        b"nodata" => {
            reply.add_authority(soa());
        }
        b"nxdomain" => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(soa());
        }
        // Addresses of 127/8.
        b"5" => {
            let ptr = RData::PTR(PTR(target));
            reply.add_answer(Record::from_rdata(name, 300, ptr));
        }
        b"6" => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(soa());
        }
        b"7" => reply.metadata.response_code = ResponseCode::ServFail,
        b"nosoa" => reply.metadata.response_code = ResponseCode::NXDomain,
        b"servfail" => reply.metadata.response_code = ResponseCode::ServFail,
        b"refused" => reply.metadata.response_code = ResponseCode::Refused,
        _ => return None,
    }
    Some(reply)
}

fn soa() -> Record {
    let zone = Name::from_str("example.").unwrap();
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, 300);
    Record::from_rdata(zone, 300, RData::SOA(soa))
}

fn name(text: &str) -> QueryName {
    QueryName::parse(text).unwrap()
}

fn found(text: &str) -> Result<Answer<TxtRecord>, LookupError> {
    Ok(Answer::Found([TxtRecord::from_text(text)].into()))
}

#[tokio::test]
async fn answers_negatives_and_failures_stay_apart() {
    let (resolver, _) = serve().await;
    for (asked, expected) in [
        ("found.example", found("v=DMARC1; p=none")),
        ("empty.example", found("")),
        ("alias.example", found("at the end")),
        ("nodata.example", Ok(Answer::NoData)),
        ("address.example", Ok(Answer::NoData)),
        ("nxdomain.example", Ok(Answer::NxDomain)),
        ("nosoa.example", Ok(Answer::NxDomain)),
        ("dangling.example", Ok(Answer::NxDomain)),
        ("hollow.example", Ok(Answer::NoData)),
        ("loop.example", Err(LookupError::BadAnswer)),
        ("servfail.example", Err(LookupError::ServerFailure)),
        ("refused.example", Err(LookupError::ServerFailure)),
        ("silent.example", Err(LookupError::Timeout)),
    ] {
        assert_eq!(resolver.txt(&name(asked)).await, expected, "{asked}");
    }
    let address = resolver.a(&name("address.example")).await.unwrap();
    assert_eq!(address.records(), [Ipv4Addr::new(192, 0, 2, 1)]);
}

#[tokio::test]
async fn the_servers_are_asked_about_loopback_too() {
    let (resolver, asked) = serve().await;
    for (last, expected) in [
        (5, Ok(Answer::Found([name("found.example")].into()))),
        (6, Ok(Answer::NxDomain)),
        (7, Err(LookupError::ServerFailure)),
        (8, Err(LookupError::Timeout)),
    ] {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 2, last));
        assert_eq!(resolver.ptr(address).await, expected, "{address}");
        assert!(asked.count(&format!("{last}.2.0.127.in-addr.arpa.")) > 0);
    }
    assert!(resolver.ptr(Ipv6Addr::LOCALHOST.into()).await.is_err());
    // RFC 6761 §6.3: this name is never asked for.
    let localhost = resolver.a(&name("localhost")).await.unwrap();
    assert_eq!(localhost.records(), [Ipv4Addr::LOCALHOST]);
    assert_eq!(asked.count("localhost."), 0);
}

#[tokio::test]
async fn answers_negatives_and_failures_are_cached() {
    let (resolver, asked) = serve().await;
    for (query, once) in [
        ("found.example", true),
        ("nodata.example", true),
        ("nxdomain.example", true),
        ("servfail.example", true),
        ("brief.example", false),
        ("nosoa.example", false),
    ] {
        let first = resolver.txt(&name(query)).await;
        let datagrams = asked.count(&format!("{query}."));
        let second = resolver.txt(&name(query)).await;
        assert_eq!(first, second, "{query}");
        let repeated = asked.count(&format!("{query}.")) - datagrams;
        assert_eq!(
            repeated == 0,
            once,
            "{query} was asked {repeated} times more"
        );
    }
}

#[tokio::test]
async fn a_question_in_flight_is_asked_once() {
    let (resolver, asked) = serve().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let resolver = resolver.clone();
        tasks.spawn(async move { resolver.txt(&name("found.example")).await });
    }
    for result in tasks.join_all().await {
        assert_eq!(result, found("v=DMARC1; p=none"));
    }
    assert_eq!(asked.count("found.example."), 1);
}

#[tokio::test]
async fn a_deadline_ends_waiting_and_spoils_nothing() {
    let (resolver, _) = serve().await;
    let shared = Arc::new(resolver.clone());
    let passed = Deadline::new(shared.clone(), tokio::time::Instant::now());
    assert_eq!(
        passed.txt(&name("silent.example")).await,
        Err(LookupError::Deadline)
    );
    let ahead = tokio::time::Instant::now() + Duration::from_secs(60);
    let open = Deadline::new(shared, ahead);
    assert_eq!(
        open.txt(&name("silent.example")).await,
        Err(LookupError::Timeout)
    );
    assert_eq!(
        open.txt(&name("found.example")).await,
        found("v=DMARC1; p=none")
    );
}

#[tokio::test]
async fn a_dead_server_is_a_failure() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    drop(socket);
    let timeout = Duration::from_millis(400);
    let settings = DnsSettings {
        servers: vec![server],
        timeout,
        ..DnsSettings::default()
    };
    let resolver = LiveResolver::new(&settings).unwrap();
    assert!(resolver.txt(&name("found.example")).await.is_err());
}
