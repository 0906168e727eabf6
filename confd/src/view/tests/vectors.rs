//! What Ganeti's own daemon answered.

use super::*;
use crate::wire::{Envelope, HmacKey, Reply};

#[test]
fn answers_are_those_of_the_reference() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../fixtures/confd-vectors.json")).unwrap();
    let key = HmacKey::new(vectors["hmac_key_file"].as_str().unwrap().as_bytes()).unwrap();
    let shared = loaded(&recorded());
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 23);
    for vector in vectors {
        let name = &vector["name"];
        let datagram = vector["request"].as_str().unwrap().trim_end().as_bytes();
        let question = Envelope::parse(datagram).unwrap();
        assert!(question.verify(&key), "{name}");
        let request = Request::parse(&question.msg).unwrap();
        let mut out = vec![];
        let head = shared.answer(&request, &mut out);

        let recorded = Envelope::parse(vector["response"].as_str().unwrap().as_bytes()).unwrap();
        let recorded = Reply::parse(&recorded.msg).unwrap();
        assert_eq!((head.status, head.serial), (recorded.status, recorded.serial), "{name}");
        let ours: Value = serde_json::from_slice(&out).unwrap();
        let theirs: Value = serde_json::from_str(recorded.answer.get()).unwrap();
        assert_eq!(ours, theirs, "{name}");
    }
}
