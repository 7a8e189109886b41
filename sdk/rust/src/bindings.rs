//! The contract's bindings, generated from the WIT that travels with the crate.
//!
//! Of the world with everything: a component imports what its filter uses, and
//! nothing of `shared`, `secrets` or `http-client` where it does not.

wit_bindgen::generate!({
    path: "wit",
    world: "filter-full",
    ownership: Borrowing { duplicate_if_necessary: false },
    pub_export_macro: true,
    export_macro_name: "__export_component",
    default_bindings_module: "lockgate_sdk::bindings",
});

/// What only a component with a job exports. Apart, because an export that is in a
/// world has to be there.
pub mod job {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package lockgate:sdk;
            world job {
                export lockgate:filter/background@0.1.0;
            }",
        world: "lockgate:sdk/job",
        pub_export_macro: true,
        export_macro_name: "__export_job",
        default_bindings_module: "lockgate_sdk::bindings::job",
        with: { "lockgate:filter/types@0.1.0": super::lockgate::filter::types },
    });
}

/// The same for one that hands over.
pub mod hand_over {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package lockgate:sdk;
            world hand-over {
                export lockgate:filter/hand-over@0.1.0;
            }",
        world: "lockgate:sdk/hand-over",
        pub_export_macro: true,
        export_macro_name: "__export_hand_over",
        default_bindings_module: "lockgate_sdk::bindings::hand_over",
    });
}

/// What a filter of connections imports and exports.
pub mod connection {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package lockgate:sdk;
            world connection {
                import lockgate:filter/connection@0.1.0;
                export lockgate:filter/connection-filter@0.1.0;
            }",
        world: "lockgate:sdk/connection",
        pub_export_macro: true,
        export_macro_name: "__export_connection",
        default_bindings_module: "lockgate_sdk::bindings::connection",
        with: { "lockgate:filter/types@0.1.0": super::lockgate::filter::types },
        generate_all,
    });
}
