//! Edits on a real directory: what stays, what is refused, what is never overwritten.

use super::*;
use crate::settings::load::load;

/// A directory of settings that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            Self(std::env::temp_dir().join(format!("ringmail-edit-{}-{name}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir_all(folder.0.join("accounts")).unwrap();
        folder.write("ringmail.toml", "data_dir = \"data\"\nhostname = \"mail.a.org\"\n[[listener]]\nname = \"l\"\naddresses = [\"127.0.0.1\"]\nsmtp = {}\n");
        folder.write("domains.toml", "postmaster = { account = \"root\" }\n[domain.\"a.org\"]\nseparators = [\"+\"]\naliases.team = { members = [\"anna@a.org\"] }\n");
        folder.write("accounts/root.toml", "addresses = [\"root@a.org\"]\n");
        folder.write("accounts/anna.toml", ANNA);
        folder
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.0.join(file), content).unwrap();
    }

    fn content(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn load(&self) -> Settings {
        load(&self.0.join("ringmail.toml")).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ANNA: &str = "# Anna works here since May.\nfull_name   = \"Anna\" # odd spaces\naddresses = [\n    \"anna@a.org\", # first\n    \"info@a.org\",\n]\n";

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn at(address: &str) -> AccountAddress {
    AccountAddress {
        address: address.parse().unwrap(),
        mailbox: MailboxName::inbox(),
    }
}

#[test]
fn an_address_of_a_file_that_is_not_loaded_yet_is_taken() {
    let folder = Folder::new("placed");
    let settings = folder.load();
    folder.write("accounts/placed.toml", "addresses = [\"New@a.org\"]\n");
    folder.write("accounts/broken.toml", "addresses = [\"other@a.org\"\n");
    let refused = add_account(
        &settings,
        name("bert"),
        &[at("bert@a.org"), at("new@a.org")],
    );
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("new@a.org is in ") && text.contains("placed.toml"),
        "{text}"
    );
    assert!(!folder.0.join("accounts/bert.toml").exists());
    let refused = add_address(&settings, name("anna"), &at("new@a.org"));
    assert!(matches!(refused, Err(EditError::Refused(_))));
    add_account(&settings, name("bert"), &[at("bert@a.org")]).unwrap();
}

#[test]
fn an_added_account_is_what_a_load_finds() {
    let folder = Folder::new("add");
    let sales = AccountAddress {
        address: "sales@a.org".parse().unwrap(),
        mailbox: "Sales".parse().unwrap(),
    };
    let next = add_account(&folder.load(), name("bob"), &[at("bob@a.org"), sales]).unwrap();
    assert_eq!(next, folder.load());
    assert_eq!(next.accounts["bob"].addresses.len(), 2);
    assert_eq!(
        folder.content("accounts/bob.toml"),
        "addresses = [\"bob@a.org\", { address = \"sales@a.org\", mailbox = \"Sales\" }]\n"
    );
    let left: Vec<_> = fs::read_dir(folder.0.join("accounts"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|n| n.as_encoded_bytes().starts_with(b"."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn comments_and_spaces_stay() {
    let folder = Folder::new("comments");
    let next = add_address(&folder.load(), name("anna"), &at("anna.b@a.org")).unwrap();
    assert_eq!(next, folder.load());
    let content = folder.content("accounts/anna.toml");
    for kept in [
        "# Anna works here since May.",
        "full_name   = \"Anna\" # odd spaces",
        "# first",
        "anna.b@a.org",
    ] {
        assert!(content.contains(kept), "{content}");
    }
    let next = remove_address(&next, name("anna"), &"INFO@a.org".parse().unwrap()).unwrap();
    assert_eq!(next, folder.load());
    assert_eq!(next.accounts["anna"].addresses.len(), 2);
    assert!(
        folder
            .content("accounts/anna.toml")
            .contains("# Anna works here since May.")
    );
}

#[test]
fn tables_of_addresses_are_edited_too() {
    let folder = Folder::new("tables");
    folder.write("accounts/carl.toml", "[[addresses]]\naddress = \"carl@a.org\"\n# his list\n[[addresses]]\naddress = \"list@a.org\"\nmailbox = \"List\"\n");
    let next = add_address(&folder.load(), name("carl"), &at("c@a.org")).unwrap();
    let next = remove_address(&next, name("carl"), &"carl@a.org".parse().unwrap()).unwrap();
    assert_eq!(next, folder.load());
    assert!(folder.content("accounts/carl.toml").contains("# his list"));
}

#[test]
fn a_file_edited_by_hand_is_left_as_it_is() {
    let folder = Folder::new("hand");
    let settings = folder.load();
    let edited = format!("{ANNA}# and more\n");
    folder.write("accounts/anna.toml", &edited);
    folder.write("accounts/bob.toml", "# somebody's\n");
    for result in [
        add_address(&settings, name("anna"), &at("x@a.org")),
        remove_address(&settings, name("anna"), &"info@a.org".parse().unwrap()),
        add_account(&settings, name("bob"), &[at("bob@a.org")]),
    ] {
        assert!(
            matches!(result, Err(EditError::EditedByHand(_))),
            "{result:?}"
        );
    }
    assert_eq!(folder.content("accounts/anna.toml"), edited);
    assert_eq!(folder.content("accounts/bob.toml"), "# somebody's\n");
    fs::remove_file(folder.0.join("accounts/anna.toml")).unwrap();
    assert!(matches!(
        add_address(&settings, name("anna"), &at("x@a.org")),
        Err(EditError::EditedByHand(_))
    ));
}

#[test]
fn wrong_edits_are_refused_with_the_reason() {
    let folder = Folder::new("wrong");
    let settings = folder.load();
    let refusal = |result: Result<Settings, EditError>| match result {
        Err(EditError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let add = |address| refusal(add_account(&settings, name("new"), &[at(address)]));
    assert_eq!(
        refusal(add_account(&settings, name("anna"), &[at("x@a.org")])),
        "there is an account anna already"
    );
    assert_eq!(
        refusal(add_account(&settings, name("new"), &[])),
        "an account needs at least one address"
    );
    assert_eq!(
        refusal(add_account(
            &settings,
            name("new"),
            &[at("x@a.org"), at("X@a.org")]
        )),
        "X@a.org is there twice"
    );
    assert_eq!(
        add("x@b.org"),
        "x@b.org: the domain b.org is not ours; add it to the domains file"
    );
    assert_eq!(
        add("Anna@A.org"),
        "Anna@a.org belongs to account anna already"
    );
    assert_eq!(add("TEAM@a.org"), "TEAM@a.org is an alias already");
    assert_eq!(
        add("x+y@a.org"),
        "x+y@a.org has the separator \"+\" of its domain in it"
    );
    assert!(
        refusal(remove_account(&settings, name("root"))).contains("the postmaster of this host")
    );
    assert!(
        refusal(remove_account(&settings, name("anna")))
            .contains("a member of the alias team@a.org")
    );
    assert_eq!(
        refusal(remove_account(&settings, name("nobody"))),
        "there is no account nobody"
    );
    assert!(
        refusal(remove_address(
            &settings,
            name("root"),
            &"root@a.org".parse().unwrap()
        ))
        .contains("the only address")
    );
    assert!(
        refusal(remove_address(
            &settings,
            name("anna"),
            &"anna@a.org".parse().unwrap()
        ))
        .contains("a member")
    );
    assert!(
        refusal(remove_address(
            &settings,
            name("root"),
            &"anna@a.org".parse().unwrap()
        ))
        .contains("not an address of account root")
    );
    assert_eq!(settings, folder.load());
}

#[test]
fn a_removed_account_is_gone() {
    let folder = Folder::new("remove");
    let settings = add_account(&folder.load(), name("bob"), &[at("bob@a.org")]).unwrap();
    let next = remove_account(&settings, name("bob")).unwrap();
    assert_eq!(next, folder.load());
    assert!(!folder.0.join("accounts/bob.toml").exists());
}
