# A boot sector that does what every kernel does first: enter 64-bit mode with paging, work
# for a while, ask for processor features, reload page tables, sleep until timer interrupts.
# Then it tells QEMU to exit with 2 * 0x10 + 1 = 33.
        .code16
        .globl _start
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        # Page tables at 0x1000-0x3fff and an interrupt table at 0x4000, all zero.
        movw    $0x1000, %di
        movw    $0x2000, %cx
        rep stosw
        # The first 2 MiB, as they are.
        movw    $0x2003, 0x1000
        movw    $0x3003, 0x2000
        movw    $0x0083, 0x3000
        # Interrupt 8: the BIOS left the timer there.
        movw    $tick, 0x4080
        movw    $0x08, 0x4082
        movw    $0x8e00, 0x4084
        movl    $0x1000, %eax
        movl    %eax, %cr3
        movl    $0x20, %eax              # PAE
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx        # EFER
        rdmsr
        orl     $0x100, %eax             # LME
        wrmsr
        lgdtl   gdtr
        lidtl   idtr
        movl    %cr0, %eax
        orl     $0x80000001, %eax        # paging, protection
        movl    %eax, %cr0
        ljmpl   $0x08, $long
        .code64
long:   xorl    %eax, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $0x7c00, %esp
        # Work: 2^26 rounds that write memory.
        movl    $0x4000000, %ecx
1:      addl    %ecx, 0x6000
        decl    %ecx
        jnz     1b
        # What costs an exit or a flush: 4096 times.
        movl    $0x1000, %edi
2:      xorl    %eax, %eax
        cpuid
        movq    %cr3, %rax
        movq    %rax, %cr3
        decl    %edi
        jnz     2b
        # Three ticks of the timer, asleep.
        sti
3:      hlt
        cmpl    $3, 0x6010
        jb      3b
        cli
        movb    $0x10, %al
        outb    %al, $0xf4
4:      hlt
        jmp     4b
tick:   pushq   %rax
        incl    0x6010
        movb    $0x20, %al
        outb    %al, $0x20
        popq    %rax
        iretq
        .balign 8
gdt:    .quad   0
        .quad   0x00209a0000000000       # 64-bit code
gdtr:   .word   15
        .long   gdt
idtr:   .word   0x8f
        .long   0x4000
        .org    510
        .word   0xaa55
