// Symbols of Mach-O: Apple.
.macro FUNCTION name
    .text
    .globl _\name
    .private_extern _\name
    .p2align 6
_\name:
.endm
.macro END name
.endm
