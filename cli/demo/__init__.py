"""`vr demo`: the whole pipe on real footage, and a page that shows what came of it."""
