//! `get` and `set` once more, in place of those that `bindgen!` makes: they are
//! called most, and here the name is neither copied nor parsed anew each time.

use http::HeaderName;
use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use super::{HostState, request, response};
use crate::filter::bindings::lockgate::filter::types::HeadError;
use crate::filter::field::Field;
use crate::filter::head_rules;
use crate::filter::state::counted;

type Context<'a> = StoreContextMut<'a, HostState>;
type Got = Result<(Option<Vec<u8>>,)>;
type Set = Result<(Result<(), HeadError>,)>;

pub fn add_to_linker(linker: &mut Linker<HostState>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance("lockgate:filter/request@0.1.0")?;
    interface.func_wrap("get", request_get)?;
    interface.func_wrap("set", request_set)?;
    let mut interface = linker.instance("lockgate:filter/response@0.1.0")?;
    interface.func_wrap("get", response_get)?;
    interface.func_wrap("set", response_set)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn request_get(mut context: Context<'_>, (name,): (WasmStr,)) -> Got {
    counted(context.data_mut());
    let text = name.to_str(&context)?;
    if let Some(field) = context.data().request_fields.find(&text) {
        return Ok((context.data().request_value(field)?,));
    }
    let text = text.into_owned();
    let state = context.data_mut();
    match Field::of_request(&text) {
        Some(field) => {
            state.request_fields.keep(&text, &field);
            Ok((state.request_value(&field)?,))
        }
        None => Ok((None,)),
    }
}

fn response_get(mut context: Context<'_>, (name,): (WasmStr,)) -> Got {
    counted(context.data_mut());
    let text = name.to_str(&context)?;
    if let Some(field) = context.data().response_fields.find(&text) {
        return Ok((context.data().response_value(field)?,));
    }
    let text = text.into_owned();
    let state = context.data_mut();
    match Field::of_response(&text) {
        Some(field) => {
            state.response_fields.keep(&text, &field);
            Ok((state.response_value(&field)?,))
        }
        None => Ok((None,)),
    }
}

fn request_set(mut context: Context<'_>, (name, value): (WasmStr, Vec<u8>)) -> Set {
    counted(context.data_mut());
    let name = changeable(&mut context, &name)?;
    let set = context.data_mut().change_request(|view, journal| {
        let (name, value) = (name?, head_rules::value(value)?);
        request::set(view, journal, name, value)
    });
    Ok((set?,))
}

fn response_set(mut context: Context<'_>, (name, value): (WasmStr, Vec<u8>)) -> Set {
    counted(context.data_mut());
    let name = changeable(&mut context, &name)?;
    let set = context
        .data_mut()
        .change_response(|response, journal, limits| {
            response::set(response, journal, limits, name?, value)
        });
    Ok((set?,))
}

/// The name of a field that the guest may change.
fn changeable(context: &mut Context<'_>, name: &WasmStr) -> Result<Result<HeaderName, HeadError>> {
    let text = name.to_str(&*context)?;
    if let Some(name) = context.data().changed_fields.find(&text) {
        return Ok(Ok(name.clone()));
    }
    let text = text.into_owned();
    Ok(match head_rules::name(&text) {
        Ok(name) => {
            context.data_mut().changed_fields.keep(&text, &name);
            Ok(name)
        }
        Err(refusal) => Err(refusal.into()),
    })
}
