// What every entry does first and last. AAPCS64, private ZA: a caller's ZA that waits to be saved (TPIDR2_EL0 names its
// block: buffer, number of slices) is saved before this code makes use of ZA. Entering and leaving streaming mode clears
// all vector registers, so d8-d15 go to the stack too. x18 belongs to the platform and is never touched.
.arch_extension sme2

.macro ENTER
    stp x29, x30, [sp, #-160]!
    mov x29, sp
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mrs x9, TPIDR2_EL0
    cbz x9, 9f
    ldr x10, [x9]
    ldrh w11, [x9, #8]
    rdsvl x13, #1
    mov w12, #0
    cbz x10, 8f
    cbz w11, 8f
7:  str za[w12, 0], [x10]
    add x10, x10, x13
    add w12, w12, #1
    cmp w12, w11
    b.lo 7b
8:  msr TPIDR2_EL0, xzr
9:  smstart
.endm

.macro LEAVE
    smstop
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x29, x30, [sp], #160
    ret
.endm

// u64 tandem_sme2_vector(): bytes of a streaming vector.
FUNCTION tandem_sme2_vector
    rdsvl x0, #1
    ret
END tandem_sme2_vector
