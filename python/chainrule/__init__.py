"""chainrule: backpropagation for CPUs."""
