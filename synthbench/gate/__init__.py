"""A baseline of an optimizer's behaviour, and checks against it, which fail where behaviour changed."""
