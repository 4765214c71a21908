// void tandem_sme2_copy_f32(const Copy *): rows of planes, four vectors at a time.
//
// x1 src   x2 dst of the plane   x3 width   x4 rows   x5 x6 bytes to the next row   x7 planes   x9 x10 bytes to the next
// plane   x11 x13 src and dst of the row   x14 rows left   x15 elements done   x16 4 VL   pn8 elements left.
// Contract: see `Copy` in mod.rs.

FUNCTION tandem_sme2_copy_f32
    ENTER
    ldp x1, x2, [x0]
    ldp x3, x4, [x0, #16]
    ldp x5, x6, [x0, #32]
    ldp x7, x9, [x0, #48]
    ldr x10, [x0, #64]
    lsl x5, x5, #2
    lsl x6, x6, #2
    lsl x9, x9, #2
    lsl x10, x10, #2
    cntw x16, all, mul #4
1:  mov x11, x1
    mov x13, x2
    mov x14, x4
2:  mov x15, #0
    whilelt pn8.s, xzr, x3, vlx4
3:  ld1w {z0.s-z3.s}, pn8/z, [x11, x15, lsl #2]
    st1w {z0.s-z3.s}, pn8, [x13, x15, lsl #2]
    cmp x16, x3
    b.lo 5f
4:  add x11, x11, x5
    add x13, x13, x6
    subs x14, x14, #1
    b.ne 3b
    b 6f
    // Rows of more than four vectors.
5:  add x15, x15, x16
    whilelt pn8.s, x15, x3, vlx4
    b.none 7f
    ld1w {z0.s-z3.s}, pn8/z, [x11, x15, lsl #2]
    st1w {z0.s-z3.s}, pn8, [x13, x15, lsl #2]
    b 5b
7:  mov x15, #0
    whilelt pn8.s, xzr, x3, vlx4
    b 4b
6:  add x1, x1, x9
    add x2, x2, x10
    subs x7, x7, #1
    b.ne 1b
    LEAVE
END tandem_sme2_copy_f32

// void tandem_sme2_clear_f32(float *dst, u64 count).
FUNCTION tandem_sme2_clear_f32
    ENTER
    cntw x16, all, mul #4
    mov x15, #0
    mov z0.s, #0
    mov z1.s, #0
    mov z2.s, #0
    mov z3.s, #0
    b 2f
1:  st1w {z0.s-z3.s}, pn8, [x0, x15, lsl #2]
    add x15, x15, x16
2:  whilelt pn8.s, x15, x1, vlx4
    b.any 1b
    LEAVE
END tandem_sme2_clear_f32
