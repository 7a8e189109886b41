//! The origins of a drill, and the ways to break one.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::origin::Order;

/// How many there are.
pub const COUNT: usize = 10;

/// Dropped, all of them end.
pub struct Fleet(Vec<Origin>);

struct Origin {
    address: SocketAddr,
    child: Child,
    orders: ChildStdin,
}

impl Fleet {
    pub fn start() -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let origins = (0..COUNT).map(|_| Origin::start(any));
        Ok(Self(origins.collect::<anyhow::Result<_>>()?))
    }

    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|origin| origin.address)
    }

    /// The one that is broken.
    fn first(&mut self) -> &mut Origin {
        &mut self.0[0]
    }

    pub fn tell(&mut self, order: Order) -> anyhow::Result<()> {
        let orders = &mut self.first().orders;
        orders.write_all(order.line().as_bytes())?;
        orders.flush().context("an origin of the drill has ended")
    }

    pub fn kill(&mut self) -> anyhow::Result<()> {
        let child = &mut self.first().child;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// In place of the one that was killed.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let origin = self.first();
        *origin = Origin::start(origin.address)?;
        Ok(())
    }

    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.first().signal(Signal::STOP)
    }

    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.first().signal(Signal::CONT)
    }
}

impl Origin {
    fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = Command::new(program);
        command
            .args(["demo", "--origin", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start an origin")?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(orders), Some(said)) = pipes else {
            anyhow::bail!("an origin without its pipes");
        };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.context("an origin does not say where it listens")?;
        Ok(Self {
            address,
            child,
            orders,
        })
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.context("a process without a number")?;
        Ok(kill_process(id, signal)?)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
