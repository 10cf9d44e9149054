from busybox as x
run echo a
copy a b
