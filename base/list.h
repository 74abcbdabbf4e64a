#ifndef BASE_LIST_H
#define BASE_LIST_H
/*
 * Intrusive doubly linked list: the node lives in the owner's struct, so that
 * nothing is allocated and removal needs no search. A zeroed node is "in no
 * list"; a list head must be list_init()ed.
 */
#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}
static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}
static inline bool list_linked(const struct list *node)
{
	return node->next != NULL;
}
static inline void list_add_tail(struct list *head, struct list *node)
{
	node->next = head;
	node->prev = head->prev;
	head->prev->next = node;
	head->prev = node;
}
static inline void list_add_head(struct list *head, struct list *node)
{
	list_add_tail(head->next, node);
}
/* Allowed on a node that is in no list. */
static inline void list_del(struct list *node)
{
	if (!node->next)
		return;
	node->next->prev = node->prev;
	node->prev->next = node->next;
	node->next = node->prev = NULL;
}
/* First node, taken out; NULL when empty. */
static inline struct list *list_pop(struct list *head)
{
	struct list *node = head->next;

	if (node == head)
		return NULL;
	list_del(node);
	return node;
}

/* The body may remove `it`, and nothing else. */
#define LIST_EACH(it, head)                                                       \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
	     it = it##_next, it##_next = it->next)
#endif
