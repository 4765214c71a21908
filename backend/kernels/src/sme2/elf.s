// Symbols of ELF: Linux and Android.
.macro FUNCTION name
    .text
    .globl \name
    .hidden \name
    .type \name, %function
    .p2align 6
\name:
.endm
.macro END name
    .size \name, . - \name
.endm
