//! The contract's bindings, generated from the WIT that travels with the crate.

wit_bindgen::generate!({
    path: "wit",
    world: "filter",
    ownership: Borrowing { duplicate_if_necessary: false },
    pub_export_macro: true,
    export_macro_name: "__export_component",
    default_bindings_module: "lockgate_sdk::bindings",
});
