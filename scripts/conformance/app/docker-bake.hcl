group "default" {
  targets = ["base", "final"]
}

target "base" {
  target = "base"
  tags   = ["baked:base"]
  secret = ["id=token,src=token"]
}

target "final" {
  inherits = ["base"]
  target   = "final"
  tags     = ["baked:final"]
  args     = { GREETING = "baked" }
}
