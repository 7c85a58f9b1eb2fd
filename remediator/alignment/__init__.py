"""Do policy, rules, routing and documents fit together? `check` reads them all and names every mistake.

`rules`, `routing`, `playbooks`, `series` and `runbook` read one kind of document each; `expected`,
`delivery` and `unknown` say what does not fit.
"""
