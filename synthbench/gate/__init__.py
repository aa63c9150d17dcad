"""The gate: a baseline of an optimizer's behaviour, and checks against it. Fails when behaviour changed, and only then."""
