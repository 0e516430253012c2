//! Files that people write.

use std::os::unix::fs::PermissionsExt as _;

use pbft_crypto::{Signer as _, key_file};
use pbft_messages::{ClusterFile, Configuration, View};

pub(super) fn cluster_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = match ClusterFile::parse(text) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "an error is one line: {error}");
            return;
        }
    };
    let Ok(configuration) = file.configuration() else { return };
    let again = ClusterFile::parse(&file.to_text()).and_then(|file| file.configuration());
    let again = again.expect("what was accepted is accepted again");
    assert_eq!((again.scope(), again.parameters()), (configuration.scope(), configuration.parameters()));
    keeps_its_limits(&configuration);
}

/// Points whose order divides eight, which are no identities (fault 40).
const SMALL_ORDER: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

fn keeps_its_limits(configuration: &Configuration) {
    let (n, f) = (configuration.n(), configuration.f());
    let (quorum, weak) = (configuration.quorum().get(), configuration.weak_quorum().get());
    assert!((4..=Configuration::MAXIMUM_REPLICAS).contains(&n));
    assert!(3 * f < n && n <= 3 * f + 3, "f is as large as n allows");
    assert!(2 * quorum > n + f, "two quorums share a correct replica");
    assert!(quorum <= n - f, "f silent replicas stop nothing");
    assert_eq!(weak, f + 1);
    let parameters = configuration.parameters();
    assert!(parameters.window >= 2 * parameters.checkpoint_interval && parameters.checkpoint_interval > 0);
    assert!(configuration.primary(View(u64::MAX)).index() < n);
    let keys = configuration.replicas().filter_map(|replica| configuration.member(replica)).map(|it| it.key);
    let keys: Vec<_> = keys.chain(configuration.clients().map(|(_, key)| key)).collect();
    for (index, key) in keys.iter().enumerate() {
        assert!(!SMALL_ORDER.contains(&key.to_string().as_str()), "a weak key passes");
        assert!(!keys[..index].contains(key), "two parties have one key");
    }
}

pub(super) fn key_file(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("the system has room for a temporary folder");
    let path = folder.path().join("a.key");
    std::fs::write(&path, bytes).expect("a temporary folder can be written to");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("the owner may change permissions");
    match key_file::read(&path) {
        Ok(key) => {
            let signature = key.sign(b"said");
            assert!(key.public_key().verifies(b"said", &signature));
            assert!(!key.public_key().verifies(b"not said", &signature));
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "an error is one line: {error}"),
    }
}
