//! A real DNS server: Debian's nsd, unpacked aside, on a loopback address of its own.

use crate::aside;
use crate::loopback;
use crate::signal;
use crate::wait;
use nix::sys::signal::Signal;
use std::fs;
use std::net::SocketAddrV4;
use std::process::{Child, Command, Stdio};

pub struct Nsd {
    address: SocketAddrV4,
    process: Child,
    home: tempfile::TempDir,
}

impl Nsd {
    /// Serves `records`, master file lines relative to the root, as the whole of DNS: names that
    /// aren't there don't exist. Returns when it answers.
    pub fn start(records: &str) -> Self {
        let tree = aside::tree("nsd");
        let address = loopback::free_address();
        let home = tempfile::Builder::new()
            .prefix("alignd-nsd-")
            .tempdir()
            .expect("a directory for nsd can be made");
        let zone = format!("{ROOT_ZONE}{records}\n");
        fs::write(home.path().join("zone"), zone).expect("our own directory can be written");
        let config = home.path().join("nsd.conf");
        let text = settings(&home.path().display().to_string(), address);
        fs::write(&config, text).expect("our own directory can be written");
        // It ends with the thread that started it, should that not come to drop it.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(tree.join("usr/sbin/nsd"))
            .arg("-d")
            .arg("-c")
            .arg(config)
            .env("LD_LIBRARY_PATH", aside::libraries(&tree))
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv (util-linux) can be run");
        let nsd = Self {
            address,
            process,
            home,
        };
        wait::until("nsd logs that it started", || {
            let log = nsd.log();
            assert!(!log.contains("error:"), "{log}\n{records}");
            log.contains("nsd started").then_some(())
        });
        nsd
    }

    /// Where it answers, UDP and TCP; run as root, at port 53 of that address as well, for programs
    /// that know no other.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // It takes its children along. Failures leave nothing to be done here.
        let _ = signal::send(&self.process, Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

const ROOT_ZONE: &str = "$ORIGIN .
$TTL 300
@ SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60
@ NS ns.invalid.
";

fn settings(home: &str, address: SocketAddrV4) -> String {
    let (ip, port) = (address.ip(), address.port());
    let usual = if nix::unistd::geteuid().is_root() {
        format!("ip-address: {ip}@53")
    } else {
        String::new()
    };
    format!(
        "server:
  ip-address: {ip}@{port}
  {usual}
  server-count: 1
  username: \"\"
  chroot: \"\"
  database: \"\"
  zonesdir: \"{home}\"
  zonelistfile: \"{home}/zone.list\"
  xfrdfile: \"\"
  xfrdir: \"{home}\"
  pidfile: \"\"
  logfile: \"{home}/log\"
  verbosity: 2
remote-control:
  control-enable: no
zone:
  name: \".\"
  zonefile: zone
"
    )
}
