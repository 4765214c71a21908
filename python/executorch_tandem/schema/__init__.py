"""Code that `flatc` generates from `schemas/*.fbs` (`cargo xtask schemas`), and the header in front of every blob."""
