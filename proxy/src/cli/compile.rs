//! `lockgate compile-component`, which only Lockgate itself calls.

use std::io;

use crate::console::Exit;
use crate::filter::compile_for_another;

pub fn compile(give_way: bool) -> anyhow::Result<Exit> {
    match compile_for_another(give_way, io::stdin().lock(), io::stdout().lock())? {
        true => Ok(Exit::Good),
        false => Ok(Exit::BadInput),
    }
}
