//! One connection of a case: it is asked about as every other.

use super::found::Told;
use super::rehearsal::facts_of;
use super::stage::Scenery;
use crate::config::cases::SampleConnection;
use crate::filter::{ConnectionFacts, Lendable, Participants, View};

/// Asks the filter, and tells it of the end.
pub async fn ask(scenery: &Scenery, sample: &SampleConnection) -> Told {
    let listener = &scenery.snapshot.listeners[0];
    let chain = &listener.connection_chain;
    let mut view = Lendable::new(View {
        client_address: sample.client_address,
        listener: listener.shared.config.name.clone(),
        tls: sample.tls.as_ref().map(facts_of),
        connection: Some(Box::new(ConnectionFacts {
            destination: Some(sample.destination),
            sni: sample.sni.clone(),
            is_opaque: sample.is_opaque,
            protocol: sample.protocol.map(|protocol| protocol.name()),
        })),
        attributes: sample.attributes.clone(),
        takes_hash_key: scenery.snapshot.takes_hash_keys,
        ..View::without_exchange(scenery.snapshot.calls.clone())
    });
    let mut taken = Participants::default();
    let asked = chain.on_connection(&mut view, &mut taken, &sample.preview);
    let refused = asked.await.err();
    chain.on_done(&mut view, &mut taken);
    Told::Connection { refused, view }
}
