//! Recipients are given to transports that there are, by a running server and in a stopped directory.

use crate::folder::Folder;

const DOMAINS: &str = "[postmaster]\naccount = \"anna\"\n[domain.\"example.test\"]\n";
const TRANSPORTS: &str = "[transport.backup]\nkind = \"fail\"\ncode = 451\n[transport.relay]\nkind = \"smarthost\"\nhost = \"127.0.0.1\"\n\
    user = \"u\"\npassword_file = \"password\"\n";

#[test]
fn a_transport_that_nobody_has_configured_is_refused() {
    let folder = Folder::new(DOMAINS, TRANSPORTS);
    std::fs::write(folder.at("password"), "secret\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.at("password"), mode).unwrap();
    let added = folder.run(&["account", "add", "anna", "anna@example.test"]);
    assert_eq!(added.code, 0, "{}", added.err);
    let give = |name: &str| folder.run(&["queue", "transport", name, "--all"]);
    let looked_at = || {
        let gone = give("backups");
        assert_eq!(gone.code, 1, "{}", gone.out);
        let said = "there is no transport \"backups\"; the settings in force have backup, relay";
        assert!(gone.err.contains(said), "{}", gone.err);
        for name in ["backup", "relay", ""] {
            let there = give(name);
            assert_eq!(there.out, "No recipient was changed.\n", "{}", there.err);
        }
    };
    let serving = folder.serve();
    looked_at();
    assert_eq!(folder.run(&["stop"]).code, 0);
    drop(serving);
    // What opens a stopped directory needs no file that a transport names.
    std::fs::remove_file(folder.at("password")).unwrap();
    looked_at();
}
