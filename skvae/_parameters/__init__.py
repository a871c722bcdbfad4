"""Constructor arguments → members and net arguments."""
