//! Calls that wait, beside the same in the background.

use std::collections::BTreeMap;
use uniffi_bindgen::{
    ComponentInterface,
    interface::{Argument, Type},
};

/// With what the name of a call in the background begins.
pub const START: &str = "start_";

/// A constructor waits too, and a constructor is no background form of another.
const MAKER: (&str, &str, &str) = ("Node", "start", "start_node");

/// What every call in the background has.
const PENDING: [&str; 3] = ["cancel", "take", "when_done"];

/// How a call looks: its arguments, what it gives, and whether it fails.
#[derive(PartialEq, Eq)]
struct Shape {
    arguments: Vec<String>,
    gives: Option<Type>,
    fails: bool,
}

impl Shape {
    fn new(arguments: Vec<&Argument>, gives: Option<&Type>, fails: bool) -> Self {
        let arguments = arguments.into_iter().map(|argument| format!("{argument:?}")).collect();
        Self { arguments, gives: gives.cloned(), fails }
    }
}

/// What a call that waits lacks in the background, or has otherwise there: a line for
/// each. What takes a timeout and may fail waits, and so does what has such a form.
pub fn differences(exported: &ComponentInterface) -> Vec<String> {
    let mut lines = vec![];
    for (place, calls) in calls(exported) {
        for (name, shape) in &calls {
            let waits = shape.fails && shape.arguments.iter().any(|a| a.contains("\"timeout\""));
            let begun = format!("{START}{name}");
            if !name.starts_with(START) && waits && !calls.contains_key(&begun) {
                lines.push(format!("{place} lacks {begun}, to {name} in the background"));
            }
            let Some(waits) = name.strip_prefix(START) else { continue };
            let Some(original) = calls.get(waits) else {
                lines.push(format!("{place} has {name}, and no {waits}"));
                continue;
            };
            if shape.arguments != original.arguments {
                lines.push(format!("{place}.{name} takes something else than {waits}"));
            }
            let gives = shape.gives.as_ref().and_then(|given| taken(exported, given));
            if shape.fails || gives.is_none_or(|gives| gives != original.gives) {
                lines.push(format!("{place}.{name} does not give, later, what {waits} gives"));
            }
        }
    }
    lines
}

/// The calls of each object, and of the module, by their names.
fn calls(exported: &ComponentInterface) -> BTreeMap<String, BTreeMap<String, Shape>> {
    let mut places: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let module = places.entry("the module".to_owned()).or_default();
    for function in exported.function_definitions() {
        let shape = Shape::new(function.arguments(), function.return_type(), function.throws());
        module.insert(function.name().to_owned(), shape);
    }
    let (object, maker, begun) = MAKER;
    for maker in exported
        .get_object_definition(object)
        .into_iter()
        .flat_map(|object| object.constructors().into_iter().filter(|there| there.name() == maker))
    {
        let made = exported.get_type(object);
        let name = begun.trim_start_matches(START).to_owned();
        module.insert(name, Shape::new(maker.arguments(), made.as_ref(), maker.throws()));
    }
    for object in exported.object_definitions() {
        let calls = places.entry(object.name().to_owned()).or_default();
        for method in object.methods() {
            let shape = Shape::new(method.arguments(), method.return_type(), method.throws());
            calls.insert(method.name().to_owned(), shape);
        }
    }
    places
}

/// What is taken of this, if it is a call in the background.
fn taken(exported: &ComponentInterface, given: &Type) -> Option<Option<Type>> {
    let object = exported.get_object_definition(given.name()?)?;
    let methods = object.methods();
    let mut names: Vec<_> = methods.iter().map(|method| method.name()).collect();
    names.sort_unstable();
    let take = methods.iter().find(|method| method.name() == "take")?;
    (names == PENDING && take.throws()).then(|| take.return_type().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(node: &str) -> Vec<String> {
        let text = format!(
            "namespace casm_uniffi {{ }};
             [Error] enum Failure {{ \"Failed\" }};
             interface Pending {{
                 void when_done(); void cancel(); [Throws=Failure] u32 take();
             }};
             interface Node {{ {node} }};"
        );
        differences(&ComponentInterface::from_webidl(&text, "casm_uniffi").unwrap())
    }

    #[test]
    fn what_waits_has_the_same_in_the_background() {
        let publish = "[Throws=Failure] u32 publish(bytes data, f64? timeout);";
        let pairs = [
            ("Pending start_publish(bytes data, f64? timeout);", ""),
            ("", "lacks start_publish"),
            ("Pending start_publish(f64? timeout);", "takes something else"),
            ("u32 start_publish(bytes data, f64? timeout);", "does not give"),
            ("Node start_publish(bytes data, f64? timeout);", "does not give"),
        ];
        for (begun, said) in pairs {
            let lines = exported(&format!("{publish} {begun}"));
            match said {
                "" => assert_eq!(lines, [""; 0]),
                said => assert!(lines.len() == 1 && lines[0].contains(said), "{begun}: {lines:?}"),
            }
        }
        let other = "[Throws=Failure] string connect(f64? timeout);";
        let lines = exported(&format!("{other} Pending start_connect(f64? timeout);"));
        assert!(lines.len() == 1 && lines[0].contains("does not give"), "{lines:?}");
        assert!(exported("Pending start_it();")[0].contains("no it"));
        assert_eq!(exported("u32 count(); [Throws=Failure] u32 len();"), [""; 0]);
    }
}
