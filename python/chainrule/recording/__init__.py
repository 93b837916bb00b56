"""Recording a training step once and replaying it: :func:`chainrule.compile`. The idea: docs/architecture.md."""
