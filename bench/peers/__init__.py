"""The same work done in other ways, each as its user would write it, for comparison."""
