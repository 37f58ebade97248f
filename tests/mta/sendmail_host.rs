//! What a Sendmail admin meets: our lines and settings as they are, a socket that Sendmail finds unsafe,
//! and what `alignd config check` says to each.

use crate::house::{Chain, House, Kind, Plan};
use crate::sendmail::ALIGND_USER;
use crate::smtp::Client;
use crate::world::SENDER;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const MAIL: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";

fn house() -> House {
    House::open(&Plan {
        user: Some(ALIGND_USER),
        ..Plan::of(Kind::Sendmail)
    })
}

#[test]
fn our_lines_and_settings_need_nothing_else() {
    let house = house();
    // The tests' own settings say the same as the file.
    let settings = include_str!("../../contrib/sendmail/alignd.toml");
    for line in [
        "listen = [\"unix:/run/alignd/milter.sock\"]",
        "socket_group = \"\"",
    ] {
        assert!(settings.lines().any(|found| found == line), "{line}");
    }
    house.deliver(&SENDER, "<a@sender.example>", MAIL);
    let told = house.alignd.config_check();
    assert!(told.contains("nothing wrong (for user alignd)"), "{told}");
}

#[test]
fn alignd_names_the_macros_itself() {
    let none = [
        "CONNECT", "HELO", "ENVFROM", "ENVRCPT", "DATA", "EOH", "EOM",
    ];
    let mc: String = none
        .iter()
        .map(|stage| format!("define(`confMILTER_MACROS_{stage}', `v')dnl\n"))
        .collect();
    let house = House::open(&Plan {
        mc: &mc,
        ..Plan::of(Kind::Sendmail)
    });
    let (_, verdict) = house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(verdict["dmarc"]["result"], "pass");
    let user = Client {
        login: "ann",
        ..SENDER
    };
    house.send(&user, "<a@sender.example>", MAIL).expect(250);
    assert_eq!(house.alignd.messages(&[]).len(), 1);
}

#[test]
fn tcp_serves_as_well() {
    for (socket, listen) in [
        ("inet:8893@127.0.0.1", "inet:127.0.0.1:8893"),
        ("inet:8893@localhost", "inet:localhost:8893"),
        ("inet6:8893@::1", "inet:[::1]:8893"),
    ] {
        let listen = format!("[\"{listen}\", \"unix:/run/alignd/milter.sock\"]");
        let house = House::open(&Plan {
            chain: Chain::Unsaid,
            mc: &format!("INPUT_MAIL_FILTER(`alignd', `S={socket}, F=T')dnl"),
            alignd: &[("milter.listen", &listen)],
            user: Some(ALIGND_USER),
            ..Plan::of(Kind::Sendmail)
        });
        house.deliver(&SENDER, "<a@sender.example>", MAIL);
        let told = house.alignd.config_check();
        assert!(told.contains("nothing wrong"), "{socket}: {told}");
    }
}

#[test]
fn a_directory_open_to_its_group_is_unsafe_to_sendmail() {
    let house = house();
    let open = fs::Permissions::from_mode(0o775);
    fs::set_permissions(house.mta.sockets(), open).expect("our own directory");
    house.send(&SENDER, "<a@sender.example>", MAIL).expect(451);
    let told = house.alignd.config_check();
    let expected = "Sendmail refuses /run/alignd/milter.sock as unsafe: /run/alignd is drwxrwxr-x";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn mail_that_sendmail_did_not_wait_for_comes_again() {
    let house = House::open(&Plan {
        chain: Chain::Unsaid,
        mc: "INPUT_MAIL_FILTER(`alignd', `S=local:/run/alignd/milter.sock, F=T, T=E:2s')dnl",
        alignd: &[("dns.timeout", "\"15s\"")],
        ..Plan::of(Kind::Sendmail)
    });
    let told = house.alignd.config_check();
    assert!(told.contains("Sendmail waits 2 s for the end"), "{told}");
    // Its policy takes five seconds to look up.
    let slow = b"From: <a@slow.example>\r\n\r\nbody\r\n";
    house.send(&SENDER, "<a@sender.example>", slow).expect(451);
    house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(house.alignd.messages(&[]).len(), 1);
}

/// Sendmail waits for each packet of ours as long as R= says, 10 s by default.
#[test]
fn progress_keeps_sendmail_waiting() {
    let house = House::open(&Plan {
        chain: Chain::Unsaid,
        mc: "INPUT_MAIL_FILTER(`alignd', `S=local:/run/alignd/milter.sock, F=T, T=R:8s')dnl",
        alignd: &[("dns.timeout", "\"9s\"")],
        ..Plan::of(Kind::Sendmail)
    });
    let silent = b"From: <a@dead.example>\r\n\r\nbody\r\n";
    let (_, verdict) = house.deliver(&SENDER, "<a@sender.example>", silent);
    assert_eq!(verdict["dmarc"]["result"], "temperror");
}

#[test]
fn before_sendmail_is_told_the_check_says_how() {
    let house = House::open(&Plan {
        chain: Chain::Unsaid,
        ..Plan::of(Kind::Sendmail)
    });
    let told = house.alignd.config_check();
    assert!(told.contains("Sendmail does not call alignd yet"), "{told}");
    assert!(!told.contains("ostfix"), "{told}");
}
