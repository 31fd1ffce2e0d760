//! Rows of the API: requests that were answered, keys, templates.

use std::time::Duration;

use shards::storage::Batch;

use super::*;
use crate::login::api_key::KeyId;

fn answer(at: i64) -> AnsweredRow {
    AnsweredRow {
        fingerprint: [7; 32],
        at,
        message_id: "<1@x>".into(),
        first: 5,
        has_from_ids: false,
    }
}

#[test]
fn answered_requests_go_the_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    store.run(|context| async move {
        let shard = &context.shards[0];
        let hash = |number: u16| {
            let mut hash = [0; 32];
            hash[..2].copy_from_slice(&number.to_be_bytes());
            hash
        };
        // More than are erased at a time; one more of another account.
        for slice in 0..6u16 {
            let permit = shard.permit(1 << 16, false, Duration::from_secs(30));
            let (permit, mut batch) = (permit.await.unwrap(), Batch::default());
            for number in slice * 100..slice * 100 + 100 {
                let row = answer(i64::from(number));
                note_answered(&mut batch, "anna", &hash(number), &row);
            }
            note_answered(&mut batch, "ben", &hash(slice), &answer(1_000));
            shard.commit(permit, batch).await.unwrap();
        }
        let mut from = Vec::new();
        assert_eq!(prune_answered(shard, 550, &mut from).await.unwrap(), 550);
        assert_eq!(prune_answered(shard, 550, &mut from).await.unwrap(), 0);
        let find = async |account, number| answered(shard, account, &hash(number)).await.unwrap();
        assert_eq!(find("anna", 549).await, None);
        assert_eq!(find("anna", 550).await, Some(answer(550)));
        assert_eq!(find("ben", 0).await, Some(answer(1_000)));
        // A name that begins like another one is another one.
        forget_answered(shard, "be").await.unwrap();
        assert_eq!(find("ben", 0).await, Some(answer(1_000)));
        forget_answered(shard, "anna").await.unwrap();
        assert_eq!(find("anna", 550).await, None);
        assert_eq!(prune_answered(shard, 2_000, &mut from).await.unwrap(), 6);
        assert_eq!(find("ben", 5).await, None);
    });
    store.close();
}

#[test]
fn an_account_has_so_many_keys_and_templates() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    store.run(|context| async move {
        let shard = &context.shards[0];
        let id = |number: u64| -> KeyId { number.to_be_bytes() };
        for number in 0..API_KEYS_MAX as u64 {
            assert!(own_api_key(shard, "anna", &id(number)).await.unwrap());
        }
        assert!(!own_api_key(shard, "anna", &id(1_000)).await.unwrap());
        assert!(own_api_key(shard, "ann", &id(1_000)).await.unwrap());
        disown_api_key(shard, "anna", &id(7)).await.unwrap();
        assert!(own_api_key(shard, "anna", &id(1_000)).await.unwrap());
        assert_eq!(own_api_keys(shard, "ann").await.unwrap(), [id(1_000)]);
        let row = TemplateRow {
            subject: "s".into(),
            text: Some("t".into()),
            ..TemplateRow::default()
        };
        for number in 0..100 {
            let name = format!("t{number}");
            let was = put_template(shard, "anna", &name, Some(&row)).await;
            assert!(!was.unwrap());
        }
        assert!(
            put_template(shard, "anna", "t100", Some(&row))
                .await
                .is_err()
        );
        assert!(put_template(shard, "anna", "t0", Some(&row)).await.unwrap());
        let all = templates(shard, "anna").await.unwrap();
        assert_eq!((all.len(), &all[0].1.text), (100, &None));
        assert_eq!(template(shard, "anna", "t5").await.unwrap(), Some(row));
        assert!(put_template(shard, "anna", "t5", None).await.unwrap());
        assert_eq!(template(shard, "anna", "t5").await.unwrap(), None);
    });
    store.close();
}
