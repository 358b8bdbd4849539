"""How useful each task is: K inner products <v, grad L_k>, one estimator a file, torch only.

v is the gradient of the meta objective through the validation losses, L_k the training loss of task
k. No estimator stores K gradients or builds a second-order graph.
"""
