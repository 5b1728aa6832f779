module gomem/traces/recorder/overlay

go 1.24
