# Linux executes PREFETCHW wherever there is 64-bit mode, without asking CPUID.
#
# mode: 64
# cpu: x86-64-v2
    prefetchw [rsp]
