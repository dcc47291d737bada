//! Tests of each kind.

use super::*;
use proptest::prelude::*;

#[test]
fn each_kind_takes_its_own_values_and_refuses_the_rest() {
    let limit = Kind::MEMORY_LIMIT;
    let limit_mb = Kind::Megabytes { min: 32 * MIB };
    let choice = Kind::Choice(&["round-robin", "ip-hash"]);
    let function = json!({ "$function": "check" });
    for (kind, raw, expected) in [
        (Kind::Bool, json!(true), Some(json!(true))),
        (Kind::Bool, json!("true"), None),
        (Kind::COUNT, json!(3.0), Some(json!(3))),
        (Kind::COUNT, json!(0), None),
        (Kind::COUNT, json!(1.5), None),
        (Kind::COUNT, json!(-1), None),
        (Kind::PERCENT, json!(99.5), Some(json!(99.5))),
        (Kind::PERCENT, json!(101), None),
        (Kind::TIME, json!("30s"), Some(json!(30_000))),
        (Kind::TIME, json!(0), None),
        (Kind::FROM_ZERO, json!(0), Some(json!(0))),
        (limit, json!("512MB"), Some(json!(512 * MIB))),
        (limit, json!(512), None),
        (limit_mb, json!(512), Some(json!(512 * MIB))),
        (limit_mb, json!("1G"), Some(json!(1024 * MIB))),
        (limit_mb, json!(31), None),
        (limit_mb, json!(536_870_912), None),
        (choice, json!("ip-hash"), Some(json!("ip-hash"))),
        (choice, json!("iphash"), None),
        (Kind::Text, json!(""), None),
        (Kind::Secret { min: 4 }, json!("åäö"), None),
        (Kind::Texts, json!(["a", "b"]), Some(json!(["a", "b"]))),
        (Kind::Texts, json!(["a", 1]), None),
        (Kind::Function, function.clone(), Some(function.clone())),
        (Kind::Function, json!({ "name": "check" }), None),
        (Kind::Functions, function.clone(), Some(json!([function]))),
    ] {
        assert_eq!(kind.read(&raw).ok(), expected, "{raw} as {}", kind.allowed());
    }
}

#[test]
fn hints_name_the_likely_mistake() {
    for (kind, raw, hint) in [
        (Kind::MEMORY_LIMIT, json!(512), "'512MB'"),
        (Kind::Megabytes { min: 32 * MIB }, json!(536_870_912), "a bare number is MB"),
        (Kind::Megabytes { min: 32 * MIB }, json!(1), "a bare number is MB"),
        (Kind::Choice(&["round-robin"]), json!("roundrobin"), "round-robin"),
        (Kind::COUNT, json!("3"), "without the quotes"),
        (Kind::Bool, json!("false"), "without the quotes"),
    ] {
        let refusal = kind.read(&raw).expect_err("a refusal").unwrap_or_default();
        assert!(refusal.contains(hint), "{raw}: {refusal}");
    }
}

#[test]
fn environment_variables_say_booleans_and_numbers_in_words() {
    for text in ["true", "1", "on", "YES"] {
        assert_eq!(Kind::Bool.text_to_raw(text), json!(true));
    }
    for text in ["false", "0", "Off", "no"] {
        assert_eq!(Kind::Bool.text_to_raw(text), json!(false));
    }
    assert_eq!(Kind::Bool.text_to_raw("maybe"), json!("maybe"));
    assert_eq!(Kind::COUNT.text_to_raw("12"), json!(12));
    assert_eq!(Kind::COUNT.text_to_raw("12x"), json!("12x"));
}

proptest! {
    #[test]
    fn a_canonical_value_reads_as_itself(number in 0u64..1 << 40, text in "[0-9]{1,4}(ms|s|m|h|)") {
        for (kind, raw) in [
            (Kind::FROM_ZERO, json!(text)),
            (Kind::Size { min: 0 }, json!(number)),
            (Kind::Whole { min: 0, max: u64::MAX }, json!(number)),
        ] {
            let canonical = kind.read(&raw).expect("a value of the kind");
            prop_assert_eq!(kind.read(&canonical).expect("canonical"), canonical);
        }
    }
}
