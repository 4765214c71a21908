//! Export-time lowering: Subgraph → graph → passes → packed constants → Program.
#![forbid(unsafe_code)]
