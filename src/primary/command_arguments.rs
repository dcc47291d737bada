//! What a program asks the running cluster to become, from any of its processes: the verb and its argument as
//! JavaScript gave them, checked here.

use serde_json::Value;

use crate::config::MAX_WORKERS;
use crate::error::{Code, Error, Result};
use crate::model::WorkerId;
use crate::supervisor::{Fact, Scale};

/// The fact that an order is for the supervisor; `id` is the order's, `asker` the worker whose program gave it.
///
/// # Errors
/// `INVALID_ARGUMENT` for a number or a worker id that is none.
pub fn fact(id: u32, verb: &str, argument: &Value, asker: Option<WorkerId>) -> Result<Fact> {
    let scale = |target| Fact::Scale { id, target, asker };
    Ok(match verb {
        "scale" => scale(Scale::To(count(verb, argument, None)?)),
        "scaleUp" => scale(Scale::By(i32::from(count(verb, argument, Some(1))?))),
        "scaleDown" => scale(Scale::By(-i32::from(count(verb, argument, Some(1))?))),
        "stopWorker" => scale(Scale::Without { slot: slot(verb, argument)?, graceful: true }),
        "endWorker" => scale(Scale::Without { slot: slot(verb, argument)?, graceful: false }),
        "restartWorker" => Fact::Roll { id, slot: Some(slot(verb, argument)?), asker },
        "restartCluster" => Fact::Roll { id, slot: None, asker },
        _ => return Err(Error::new(Code::NotSupported, format!("{verb} is no order for a cluster"))),
    })
}

fn invalid(verb: &str, found: &Value, allowed: &str) -> Error {
    Error::new(Code::InvalidArgument, format!("{verb}: found {found}, allowed: {allowed}"))
}

fn count(verb: &str, argument: &Value, default: Option<u16>) -> Result<u16> {
    let given = match (argument, default) {
        (Value::Null, Some(default)) => return Ok(default),
        // A number out of JavaScript may come as 2.0.
        _ => argument.as_f64().filter(|number| number.fract() == 0.0),
    };
    let most = f64::from(MAX_WORKERS);
    let valid = given.filter(|number| (1.0..=most).contains(number));
    valid
        .map(|number| number as u16)
        .ok_or_else(|| invalid(verb, argument, &format!("a whole number from 1 to {MAX_WORKERS}")))
}

fn slot(verb: &str, argument: &Value) -> Result<u16> {
    let text = match argument {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let known = text.parse::<u16>().ok().filter(|slot| slot.to_string() == text);
    known.ok_or_else(|| invalid(verb, argument, "a worker's id such as '0'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn orders_say_how_many_or_which() {
        let target = |verb: &str, argument: Value| match fact(7, verb, &argument, None) {
            Ok(Fact::Scale { id: 7, target, asker: None }) => target,
            other => panic!("{other:?}"),
        };
        assert_eq!(target("scale", json!(4)), Scale::To(4));
        assert_eq!(target("scale", json!(4.0)), Scale::To(4));
        assert_eq!(target("scaleUp", Value::Null), Scale::By(1));
        assert_eq!(target("scaleDown", json!(2)), Scale::By(-2));
        assert_eq!(target("stopWorker", json!("3")), Scale::Without { slot: 3, graceful: true });
        assert_eq!(target("endWorker", json!("3")), Scale::Without { slot: 3, graceful: false });
        let roll = |verb: &str, argument: Value| match fact(1, verb, &argument, Some(WorkerId::new(0, 4))) {
            Ok(Fact::Roll { id: 1, slot, asker: Some(WorkerId { slot: 0, generation: 4 }) }) => slot,
            other => panic!("{other:?}"),
        };
        assert_eq!(roll("restartWorker", json!(2)), Some(2));
        assert_eq!(roll("restartCluster", Value::Null), None);
    }

    #[test]
    fn what_is_no_number_and_no_worker_is_refused_with_what_was_found() {
        for (verb, argument) in [
            ("scale", json!(0)),
            ("scale", json!(1.5)),
            ("scale", json!("4")),
            ("scale", Value::Null),
            ("scale", json!(1025)),
            ("scaleUp", json!(-1)),
            ("restartWorker", json!("01")),
            ("restartWorker", Value::Null),
            ("stopWorker", json!({})),
        ] {
            let error = fact(1, verb, &argument, None).expect_err(verb);
            assert_eq!(error.code, Code::InvalidArgument, "{verb} {argument}");
            assert!(error.message.contains(&argument.to_string()), "{}", error.message);
        }
    }
}
