//! Report mail is signed so that others verify it: our own verifier, and dkimpy, which shares no code
//! with the signer.

use crate::{dkim, python};
use alignd::auth::dkim::DkimSettings;
use alignd::deliver::Signer;
use alignd::domain::DomainName;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const MAIL: &[u8] = b"Date: Sun, 22 Nov 2026 16:30:00 +0000\r\nFrom: dmarc-reports@ours.example\r\nTo: d@b.example\r\nSubject: Report Domain: b.example\r\n Submitter: ours.example Report-ID: <x@ours.example>\r\nMessage-ID: <x@ours.example>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n.hello\r\n\r\nbye  \r\n";

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut process = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl can be run");
    let mut stdin = process.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("openssl reads");
    drop(stdin);
    let output = process.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

/// The key's PEM, and its record.
fn key(kind: &str) -> (Vec<u8>, String) {
    use base64::Engine;
    let pem = match kind {
        "rsa pkcs1" => openssl(&["genrsa", "-traditional", "2048"], b""),
        "rsa pkcs8" => openssl(&["genpkey", "-algorithm", "RSA"], b""),
        "rsa 1024" => openssl(&["genrsa", "1024"], b""),
        _ => openssl(&["genpkey", "-algorithm", "ed25519"], b""),
    };
    let der = openssl(&["pkey", "-pubout", "-outform", "DER"], &pem);
    let base64 = base64::engine::general_purpose::STANDARD;
    let record = match kind {
        // The last 32 octets of the encoding are the key, RFC 8410 §4.
        "ed25519" => {
            let key = &der[der.len() - 32..];
            format!("v=DKIM1; k=ed25519; p={}", base64.encode(key))
        }
        _ => format!("v=DKIM1; k=rsa; p={}", base64.encode(der)),
    };
    (pem, record)
}

#[test]
fn signatures_verify_elsewhere() {
    let home = tempfile::tempdir().expect("a directory");
    let python = python::interpreter("dkimpy", &["dkimpy==1.1.8", "pynacl==1.6.0"]);
    for kind in ["rsa pkcs1", "rsa pkcs8", "ed25519"] {
        let (pem, record) = key(kind);
        let file = home.path().join("key.pem");
        std::fs::write(&file, pem).expect("our own directory");
        let ours = DomainName::parse("ours.example").expect("a domain");
        let signer = Signer::open(&file, &ours, "sel").expect("a key");
        let signed = signer.sign(MAIL).expect("signs");
        assert!(signed.ends_with(MAIL));
        let zone = dkim::zone([("sel._domainkey.ours.example", record.as_str())]);
        assert_eq!(verified(&signed, &zone), ["pass"], "{kind}");
        assert_eq!(dkimpy(&python, &signed, &record), "pass", "{kind}");
        // A second From breaks it.
        let forged = [b"From: evil@evil.example\r\n".as_slice(), &signed].concat();
        assert_ne!(verified(&forged, &zone), ["pass"], "{kind}");
    }
}

fn verified(mail: &[u8], zone: &alignd::dns::zone::Zone) -> Vec<String> {
    // The signer reads the system's clock, whatever we do; its `t=` is no reason for anything here.
    dkim::lines(&dkim::judge(
        mail,
        zone,
        &DkimSettings::default(),
        i64::MAX / 2_000_000,
        1_000,
    ))
}

fn dkimpy(python: &Path, mail: &[u8], record: &str) -> String {
    const SCRIPT: &str = "import sys, dkim
record = sys.argv[1].encode()
good = dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda name, timeout=5: record)
print('pass' if good else 'fail')";
    let mut process = Command::new(python)
        .args(["-c", SCRIPT, record])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python can be run");
    let mut stdin = process.stdin.take().expect("it is piped");
    stdin.write_all(mail).expect("python reads");
    drop(stdin);
    let output = process.wait_with_output().expect("it is our child");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn files_without_a_key_are_told() {
    let home = tempfile::tempdir().expect("a directory");
    let domain = DomainName::parse("ours.example").expect("a domain");
    let file = home.path().join("key.pem");
    for (content, expected) in [
        (None, "No such file"),
        (Some("".into()), "no private key that signs"),
        (
            Some(openssl(&["pkey", "-pubout"], &key("ed25519").0)),
            "no private key that signs",
        ),
        (
            Some(openssl(
                &[
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ],
                b"",
            )),
            "no private key that signs",
        ),
    ] {
        if let Some(content) = content {
            std::fs::write(&file, content).expect("our own directory");
        }
        let refused = Signer::open(&file, &domain, "sel")
            .expect_err("no key")
            .to_string();
        assert!(
            refused.starts_with("delivery.dkim_key_file: /"),
            "{refused}"
        );
        assert!(refused.contains(expected), "{refused}");
    }
}
